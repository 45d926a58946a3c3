#!/bin/sh
# Every public function is called with arguments that are no good: tests/contract/test_arguments.c names it. What takes no
# arguments, and what a plug-in exports, is left out.
set -u
missing=$(grep -ho '\bvmsig_[a-z0-9_]*(' include/vmsig_*.h | sort -u | while read -r name; do
    case "$name" in "vmsig_core_new(" | "vmsig_ctx_new(" | "vmsig_inproc_control_ops(" | "vmsig_actor_open(" | "vmsig_plugin_open(") continue ;; esac
    grep -qF "$name" tests/contract/test_arguments.c || printf '%s) ' "$name"
done)
if [ -z "$missing" ]; then echo "ok each public function is called with bad arguments"; else echo "not ok no bad arguments for $missing"; fi
