#!/bin/sh
# tests/run.sh PROGRAM: every line of cases.txt is "expression = value", or "expression ! error".
set -u
program=$1
failed=0
count=0
while IFS= read -r line; do
    count=$((count + 1))
    case $line in
    *' = '*) got=$("$program" "${line%% = *}" 2>&1) want=${line##* = } ;;
    *) got=$("$program" "${line%% ! *}" 2>&1) want="${line%% ! *}: ${line##* ! }" ;;
    esac
    if [ "$got" != "$want" ]; then
        echo "FAIL $line (got $got)"
        failed=1
    fi
done < "$(dirname "$0")/cases.txt"
echo "$count cases"
exit $failed
