#!/bin/sh
# A letter through the machine's own sendmail (msmtp, postfix, …). For SORTER_ON_PROBLEM and
# SORTER_ON_CLEAR: mail.sh operator@example.org
{
  printf 'To: %s\nSubject: sorter %s: %s %s\n' "$1" "${SORTER_STATION:-}" "$SORTER_KIND" "$SORTER_EVENT"
  printf 'Content-Type: text/plain; charset=utf-8\n\n%s\n\n' "$SORTER_WHAT"
  cat
} | sendmail -t
