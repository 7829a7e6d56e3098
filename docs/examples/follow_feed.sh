#!/bin/sh
# Follows a feed with curl: every event once, in order, also after an interruption. Needs curl and python3 (for JSON).
# BASE=https://… API_KEY=… TOKEN=… ./follow_feed.sh [PAGES]; the cursor is kept in the file `cursor`.
set -eu
pages=${1:-0}
number=0
while [ "$pages" -eq 0 ] || [ "$number" -lt "$pages" ]; do
  after=$(cat cursor 2>/dev/null || true)
  # Waits up to 30 seconds for the next event.
  if ! curl -sSf -G "$BASE/events/v1/$API_KEY/events" -H "Authorization: Bearer $TOKEN" -H "Prefer: wait=30" \
    --data-urlencode "rows=100" ${after:+--data-urlencode "after=$after"} -o page; then
    sleep 5
    continue
  fi
  python3 -c 'import json; [print(e["sequence"], e["type"], e["id"]) for e in json.load(open("page"))["result"]]'
  # Only after the events were processed: what was not, is read again.
  python3 -c 'import json; print(json.load(open("page"))["pagination"]["nextPageToken"])' >cursor
  number=$((number + 1))
done
