-- Who the browser is whose cookie has the hash $2, in the namespace $1. Called by: the server, at each request of a browser. Zero rows: it is
-- not signed in any more, or its token is revoked or has expired. Locks: nothing. Indexes: session_pkey, token_pkey.
select
    coalesce(token.name, session.who) as "who!",
    session.token_id is not null as "is_of_token!",
    coalesce(token.role, session.role) as "role!",
    coalesce(token.workflows, session.workflows) as "workflows!",
    coalesce(token.labels, session.labels)::text as "labels!",
    coalesce(token.payloads, session.payloads) as "payloads!"
from dacapo.session
left join dacapo.token on token.id = session.token_id
where session.hash = $2
    and session.namespace = $1
    and session.expires_at > clock_timestamp()
    and (session.token_id is null or token.revoked_at is null and (token.expires_at is null or token.expires_at > clock_timestamp()))
