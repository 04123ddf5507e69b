#!/bin/sh
# The message as JSON to an address. For SORTER_ON_PROBLEM and SORTER_ON_CLEAR:
# webhook.sh https://example.org/hook
exec curl --fail --silent --show-error --max-time 20 --retry 2 \
  --header 'Content-Type: application/json' --data-binary @- "$1"
