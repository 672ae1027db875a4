#!/bin/sh
# clone, commit, branch, merge with a conflict, rebase, stash, gc, fsck; hooks run.
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
cd "$(mktemp -d)"
git init -q --bare -b main origin.git
git clone -q origin.git work 2>/dev/null
cd work
printf '#!/bin/sh\necho hook >>../hooked\n' >.git/hooks/pre-commit
chmod +x .git/hooks/pre-commit
for i in 1 2 3; do
    echo "$i" >"f$i"
    git add .
    git commit -qm "c$i"
done
[ "$(wc -l <../hooked)" -eq 3 ]
git checkout -qb side HEAD~1
echo side >f3
git add f3
git commit -qm side
! git merge -q main >/dev/null 2>&1
echo both >f3
git add f3
git commit -qm merged
git checkout -q main
git merge -q side
git checkout -qb topic HEAD~1
echo t >topic
git add topic
git commit -qm topic
git rebase -q main
echo dirty >f1
git stash -q
git stash pop -q
git checkout -q f1
git push -q origin main topic
git gc -q --aggressive --prune=now
git fsck --strict --no-progress
git -C ../origin.git log --oneline main | wc -l
