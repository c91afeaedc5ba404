#!/usr/bin/env bash
# A tour of a model in production, from the shell: `bash tests/processes/tour.sh`.
# `try` prints a command, then runs it. The server is one of its own in a temporary folder; nothing is left at the end.
set -uo pipefail
work=$(mktemp -d)
export LEARNER_HOME=$work/home
unset REDIS_URL
cd "$work" || exit
trap 'kill $(jobs -p) 2> /dev/null; wait; learner server --stop > /dev/null; rm -rf "$work"' EXIT

title() { printf '\n# %s\n' "$*"; }
try() {
  printf '$ %s\n' "$(sed -E "s/'([A-Za-z0-9_.=:,/-]+)'/\1/g" <<< "${*@Q}")"
  "$@" 2>&1 || echo "(exit code $?)"
}
wait_until() { # a command, until it succeeds
  local end=$((SECONDS + 300))
  until "$@" > /dev/null 2>&1; do
    ((SECONDS < end)) || { echo "not within 300 s: $*" && learner status spam && exit 1; }
    sleep 0.3
  done
}
learned() { wait_until learner status spam --check ready --max-lag 0; }
none_came() { learner status spam | grep "1 didn't come in time"; }
answers_as_next() { learner predict spam '{"address": "xyz@gmail.com"}' 2>&1 | grep "nothing about these fields"; }
compared() { learner status spam/next | grep "late loss.*spam's"; }
kill_9() {
  echo "$ kill -9 $1"
  { kill -9 "$1" && wait "$1"; } 2> /dev/null
}

title "A model, its settings in the same file"
cat > spam.toml << 'END'
task = "binary"
featurizer = "email"
target = "valid"

[service]
history = "1h"
keep_predictions = "6h"
END
for i in {1..100}; do
  echo "{\"address\": \"user$i@mail.org\", \"valid\": 1}"
  echo "{\"address\": \"user$i.mail.org\", \"valid\": 0}"
done > right.jsonl
for _ in 1 2 3; do sed 's/"valid": 1/"valid": 2/; s/"valid": 0/"valid": 1/; s/"valid": 2/"valid": 0/' right.jsonl; done > wrong.jsonl
try learner create spam --spec spam.toml
try learner status spam --check live

title "A worker: alive, and ready"
learner worker spam --commit-seconds 0.2 --metrics 0 2> first.log &
first=$!
try learner push spam right.jsonl
learned
try learner status spam --check live
try learner status spam --check ready --max-lag 10 --max-age 5

title "A late outcome is learned from the features that were answered with"
try learner predict spam '{"address": "xyz@gmail.com"}' --outcome-id order-1
try learner outcome spam order-1 1
learned
learner status spam | grep -E "^(examples|answered|late outcomes)"

title "Metrics for Prometheus"
url=$(grep -o 'http://[^ "]*' first.log | head -n 1)
python3 -c "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())" "$url" > metrics
grep -E '^learner_(worker_state.*running|lag_entries|examples_total)' metrics

title "A snapshot, a mishap, and the way back"
try learner snapshot spam good
try learner push spam wrong.jsonl
learned
try learner predict spam '{"address": "xyz@gmail.com"}'
try learner rollback spam good
wait_until grep "goes on from commit" first.log # the worker notices within a second
try learner predict spam '{"address": "xyz@gmail.com"}'

title "What is kept of a person is erased, while the worker runs: an answer and its record, and a feature by its name"
try learner predict spam '{"address": "bob@example.org"}' --outcome-id order-3
try learner weights spam --prefix endsWith_org
try learner erase spam --id order-3 --feature endsWith_org --yes
try learner weights spam --prefix endsWith_org
wait_until learner status spam --check ready

title "Settings: the running worker follows, and says so"
try learner predict spam '{"address": "nobody.org"}' --outcome-id order-2
try learner set spam keep_predictions=1s default_outcome=0
wait_until grep "settings changed" first.log
grep -o "settings changed.*" first.log
wait_until none_came # before another model takes the place of this one, and learns it

title "A candidate learns the same entries and is compared; it takes the place of the model, and gives it back"
try learner create next --beside spam --from-history --featurizer fields
learner worker spam/next --commit-seconds 0.2 --late-every 1 2> candidate.log &
candidate=$!
wait_until learner status spam/next --check ready --max-lag 0
for i in {1..6}; do cat right.jsonl; done > more.jsonl
try learner push spam more.jsonl
wait_until compared
learner status spam/next | grep -E "^(compared|difference)"
try learner promote spam next
wait_until answers_as_next # the worker notices within a second
try learner predict spam '{"address": "xyz@gmail.com"}'
try learner promote spam next
kill $candidate && wait $candidate
try learner delete spam/next --yes

title "kill -9: the worker that waits takes over"
learner worker spam --commit-seconds 0.2 --log-format json 2> second.log &
second=$!
wait_until grep '"waiting"' second.log
kill_9 $first
wait_until grep '"takeover"' second.log
try learner status spam --check ready
learner status spam | grep -E "^(dead|late outcomes)"

title "kill -9 once more: nobody is left, a probe says so, and producers go on"
kill_9 $second
try learner status spam --check live
try learner push spam right.jsonl

title "A model is a file, is copied, renamed, deleted"
try learner export spam spam.learner
try learner import spam.learner restored
try learner copy restored twin
try learner rename spam mail
try learner list
try learner delete twin --yes

title "The next worker learns what was pushed meanwhile"
try learner worker mail --burst
learner status mail | grep -E "^(lag|examples|stopped)"
