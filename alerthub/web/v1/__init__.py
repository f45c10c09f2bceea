"""`/api/v1`, what is not older than it: one of each kind, long lists in pages, what the configuration says, the record."""

from alerthub.web.v1 import one, record, rules

ROUTES = [*one.ROUTES, *rules.ROUTES, *record.ROUTES]
