#!/bin/sh
# Compare every #include "..." with the sentences of docs/ARCHITECTURE.md, "Who may use whom":
#   agent, orchestrator, cli -> shared; never one another
#   orchestrator: routes -> {http, tenancy, workflow, run, evidence, bundle, obs}; workflow -> {run, store, obs} and http/feed.h; run -> {runtime, store, evidence, bundle, gateway, seal, obs} and http/feed.h;
#                 gateway -> {runtime, obs}; evidence -> {runtime, store, obs}; bundle -> {seal, store, evidence, obs}; tenancy -> store; http, store, runtime, seal, obs -> shared only (plus config.h); routes, run -> secret.h
# Also: SQL only in orchestrator/store/, the container engine's API only in orchestrator/runtime/.
set -eu
cd "$(dirname "$0")/../.."
bad=$(
    find shared agent orchestrator cli -name '*.[ch]' | sort | while read -r file; do
        sed -n 's/^#include "\(.*\)"/\1/p' "$file" | while read -r inc; do
            from=${file%/*}
            to=${inc%/*}
            case "$from:$to" in
            shared:shared) continue ;;
            agent:shared | agent:agent) continue ;;
            cli:shared | cli:cli | cli/*:shared | cli/*:cli/* | cli:cli/*) continue ;;
            orchestrator/*:shared | orchestrator:shared | orchestrator:orchestrator | orchestrator:orchestrator/*) continue ;;
            orchestrator/routes:orchestrator/http | orchestrator/routes:orchestrator/tenancy | orchestrator/routes:orchestrator/run) continue ;;
            orchestrator/routes:orchestrator/evidence | orchestrator/routes:orchestrator/bundle | orchestrator/routes:orchestrator/obs) continue ;;
            orchestrator/routes:orchestrator/seal | orchestrator/routes:orchestrator/store | orchestrator/routes:orchestrator/workflow) continue ;;
            orchestrator/workflow:orchestrator/run | orchestrator/workflow:orchestrator/store | orchestrator/workflow:orchestrator/obs) continue ;;
            orchestrator/tenancy:orchestrator/store) continue ;;
            orchestrator/run:orchestrator/runtime | orchestrator/run:orchestrator/store | orchestrator/run:orchestrator/evidence) continue ;;
            orchestrator/run:orchestrator/bundle | orchestrator/run:orchestrator/obs | orchestrator/run:orchestrator/seal) continue ;;
            orchestrator/evidence:orchestrator/runtime | orchestrator/evidence:orchestrator/store | orchestrator/evidence:orchestrator/obs) continue ;;
            orchestrator/bundle:orchestrator/seal | orchestrator/bundle:orchestrator/store | orchestrator/bundle:orchestrator/obs) continue ;;
            orchestrator/bundle:orchestrator/evidence) continue ;;
            orchestrator/run:orchestrator/gateway | orchestrator/gateway:orchestrator/runtime | orchestrator/gateway:orchestrator/obs) continue ;;
            agent/sh:agent/sh | agent:agent/sh) continue ;; # the shim's program needs libc only; its server shares the protocol
            esac
            [ "$from" = "$to" ] && continue
            case "$from:$inc" in *:orchestrator/config.h | orchestrator/run:orchestrator/secret.h | orchestrator/routes:orchestrator/secret.h | orchestrator/run:orchestrator/http/feed.h | orchestrator/workflow:orchestrator/http/feed.h) continue ;; esac
            printf '%s includes %s\n' "$file" "$inc"
        done
    done
    grep -rlE '\b(INSERT INTO|SELECT .* FROM|UPDATE .* SET|DELETE FROM)\b' --include='*.[ch]' shared agent orchestrator cli 2>/dev/null |
        grep -v '^orchestrator/store/' | sed 's/$/ holds SQL outside orchestrator\/store/' || true
    grep -rlE '/(containers|volumes|networks|images)/(create|json|%s)' --include='*.c' orchestrator 2>/dev/null |
        grep -v '^orchestrator/\(runtime\|routes\)/' | sed 's/$/ speaks the engine API outside orchestrator\/runtime/' || true
)
if [ -n "$bad" ]; then
    printf '%s\n' "$bad"
    exit 1
fi
