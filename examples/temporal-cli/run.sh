#!/bin/sh
# A run from its start to its result with nothing but the Temporal CLI:  sh run.sh SOURCE TARGET
# TEMPORAL_ADDRESS says where the server is; SOURCE and TARGET are as its workers see them.
set -eu
source=$1 target=$2
id=cli-example-$$
input=$(mktemp)
trap 'rm -f "$input"' EXIT

document() { # SOURCE ON_ERROR
  cat <<JSON
{
  "name": "cli-example",
  "on_error": "$2",
  "stages": [
    {"type": "source.local", "path": "$1"},
    {"type": "loader.weights_only"},
    {"type": "sink.publish", "uri": "$target"}
  ]
}
JSON
}

echo "== start, with a source that is not there"
document "$source.late" wait > "$input"
temporal workflow start --type checkpointPipeline --task-queue checkpoints --workflow-id "$id" --input-file "$input"

echo "== query: it waits for an answer"
until temporal workflow query --workflow-id "$id" --type status | grep -q '"status":"waiting"'; do sleep 1; done

echo "== update: try again with another path"
temporal workflow update execute --workflow-id "$id" --name resolve_failure --input '{"action": "retry", "options": {"path": "'"$source"'"}}'

echo "== result"
temporal workflow result --workflow-id "$id" --output json

echo "== a run that fails: exit code 1, and the failure with its type and details"
document "$source.missing" fail > "$input"
temporal workflow execute --type checkpointPipeline --task-queue checkpoints --workflow-id "$id-fails" --input-file "$input" --output json ||
  echo "== exit code $?"
