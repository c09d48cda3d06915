#!/bin/sh
# Submit prompts, one a line of a file, to start at a time to come; fetch what they answered.
#
#   sh examples/nightly.sh submit PROMPTS [RFC 3339 TIME]     prints one job id a line
#   sh examples/nightly.sh fetch < IDS                        prints one answer a line, as JSON
#
# PROMPTS has one JSON string a line, such as "Name three colours." with its quotes.
set -eu
URL=${FOREMAN_URL:-http://127.0.0.1:8080}
MODEL=${MODEL:-smollm2:135m}
AUTH="Authorization: Bearer ${FOREMAN_TOKEN:-none}"

case "${1:-}" in
submit)
  at=${3:+\"not_before\": \"$3\",}
  while IFS= read -r prompt; do
    printf '{"model": "%s", "priority": "low", %s "options": {"num_predict": 60}, "messages": [{"role": "user", "content": %s}]}\n' \
      "$MODEL" "${at:-}" "$prompt"
  done < "$2" |
    curl -sS --fail-with-body "$URL/jobs" -H "$AUTH" -H 'Content-Type: application/x-ndjson' --data-binary @- |
    grep -o '"job_id":"[^"]*"' | cut -d '"' -f 4
  ;;
fetch)
  while IFS= read -r id; do
    curl -sS --fail-with-body -H "$AUTH" -H 'Prefer: wait=300' "$URL/jobs/$id" > /dev/null
    curl -sS --fail-with-body -H "$AUTH" "$URL/jobs/$id/artifacts/completion"
    echo
  done
  ;;
*)
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 2
  ;;
esac
