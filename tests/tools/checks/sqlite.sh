#!/bin/sh
set -eu
cd "$(mktemp -d)"
sqlite3 t.db 'pragma journal_mode=wal; create table t(a integer primary key, b text);
with recursive n(i) as (select 1 union all select i+1 from n where i<20000) insert into t select i, hex(randomblob(16)) from n;
create index i on t(b); delete from t where a % 3 = 0; vacuum; pragma integrity_check;' | grep ok
for i in 1 2 3 4; do
    sqlite3 -cmd '.timeout 10000' t.db "insert into t(b) values('w$i')" &
done
wait
sqlite3 t.db "select count(*) from t where b like 'w%'" | grep '^4$'
