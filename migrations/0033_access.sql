-- Access to the server: tokens of services and people, the sessions of people in the dashboard, and who did what.

-- A token lets whoever has its secret do what its role allows. The secret itself is nowhere in the database.
create table dacapo.token (
    id bigint generated always as identity primary key,
    namespace text not null,
    name text not null,
    -- SHA-256 of the secret.
    hash bytea not null,
    -- What it allows; each role allows what those before it do: read, operate, deploy, admin.
    role text not null,
    -- The workflows that it is limited to, by patterns of their full names in which `*` stands for any text. None: all.
    workflows text[] not null,
    -- The labels that runs must have for it: an object of texts.
    labels jsonb not null,
    -- Whether inputs, outputs, what steps record, events and logs are shown for it.
    payloads boolean not null,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    -- Null: never.
    expires_at timestamptz,
    -- When it was last used, to about a minute.
    used_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    constraint token_hash_is_sha256 check (octet_length(hash) = 32),
    constraint token_role_known check (role in ('read', 'operate', 'deploy', 'admin')),
    constraint token_revoked_by_somebody check ((revoked_at is null) = (revoked_by is null))
);
create unique index token_by_hash on dacapo.token (hash);
-- The name of one that is revoked can be given again.
create unique index token_by_name on dacapo.token (namespace, name) where revoked_at is null;

comment on table dacapo.token is 'Who may use the server: hashes of secrets, with what they allow';
comment on column dacapo.token.hash is 'SHA-256 of the secret, which is shown once and kept nowhere';

-- A browser that is signed in. It is whoever has the text of its cookie.
create table dacapo.session (
    -- SHA-256 of the cookie.
    hash bytea primary key,
    namespace text not null,
    -- The token that it was begun with; it ends with that. Null: it was begun with OpenID Connect, and the columns below say all.
    token_id bigint references dacapo.token (id) on delete cascade,
    who text,
    role text,
    workflows text[],
    labels jsonb,
    payloads boolean,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    constraint session_hash_is_sha256 check (octet_length(hash) = 32),
    constraint session_role_known check (role in ('read', 'operate', 'deploy', 'admin')),
    constraint session_of_somebody check (
        case
            when token_id is null then who is not null and role is not null and workflows is not null and labels is not null and payloads is not null
            else who is null and role is null and workflows is null and labels is null and payloads is null
        end
    )
);
create index session_by_token on dacapo.session (token_id) where token_id is not null;
create index session_by_end on dacapo.session (expires_at);

comment on table dacapo.session is 'Browsers that are signed in to the dashboard';

-- Who did what: a row for each request to the server that changes something, or would have, and for each token that was made or revoked.
create table dacapo.audit (
    id bigint generated always as identity primary key,
    namespace text not null,
    at timestamptz not null default clock_timestamp(),
    -- The name of a token, the subject of a sign-in, user@host of a command; null: nobody who is known.
    who text,
    -- How they were known: token, session, oidc, local (a server without tokens), command, nobody.
    via text not null,
    -- The role that they had.
    role text,
    -- What: the operation's name in the API, or a word of the command.
    action text not null,
    -- What it was done to: the id of a run, the name of a workflow, a schedule, a queue, a token.
    target text,
    -- done; refused: they may not, or it cannot be; failed: the server could not.
    outcome text not null,
    -- The answer's HTTP status; null: it was no request.
    status smallint,
    -- The address that it came from.
    address text,
    constraint audit_via_known check (via in ('token', 'session', 'oidc', 'local', 'command', 'nobody')),
    constraint audit_role_known check (role in ('read', 'operate', 'deploy', 'admin')),
    constraint audit_outcome_known check (outcome in ('done', 'refused', 'failed'))
);
-- Pages, the newest first: all, of one who did it, of one thing that was done, of one thing that it was done to.
create index audit_by_namespace on dacapo.audit (namespace, id);
create index audit_by_who on dacapo.audit (namespace, who, id);
create index audit_by_action on dacapo.audit (namespace, action, id);
create index audit_by_target on dacapo.audit (namespace, target, id) where target is not null;
-- For those that are kept long enough.
create index audit_by_time on dacapo.audit (at);

comment on table dacapo.audit is 'Who did what through the server, and who made and revoked tokens';
