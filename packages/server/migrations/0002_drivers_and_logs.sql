-- Driver instances with their leases, the bytes that attempts wrote, tokens, and the replicas themselves.

create table instances (
  no bigint generated always as identity primary key,
  driver text not null,
  instance text not null,
  owner text not null,
  incarnation bytea not null,
  epoch bigint not null,
  replica text not null,
  labels json not null,
  slots int not null,
  version text not null,
  schema_digest bytea,
  draining boolean not null default false,
  created_ms bigint not null,
  connected_ms bigint not null,
  unique (driver, instance)
) with (fillfactor = 70);
comment on column instances.epoch is 'Grows with each session and when the lease is taken away: a write of another epoch is refused.';
comment on column instances.incarnation is 'SHA-256 of the secret of the process that speaks for the instance.';

create table leases (
  instance_no bigint primary key references instances on delete cascade,
  epoch bigint not null,
  seen_ms bigint not null,
  expires_ms bigint not null
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.1);

create table spec_schemas (
  driver text not null,
  digest bytea not null,
  body json not null,
  created_ms bigint not null,
  primary key (driver, digest)
);

create table log_chunks (
  day date not null,
  run_id uuid not null,
  job int not null,
  attempt int not null,
  start_offset bigint not null,
  data bytea not null,
  spans json not null,
  primary key (run_id, job, attempt, start_offset, day)
) partition by range (day);
alter table log_chunks alter column data set storage external;
comment on table log_chunks is 'Log bytes as they were sent, by offset; one partition a day, dropped whole.';
comment on column log_chunks.spans is 'Arrays of [length, channel, milliseconds] that cover data.';

create table log_sections (
  run_id uuid not null,
  job int not null,
  attempt int not null,
  log_offset bigint not null,
  name text not null,
  ends boolean not null,
  no bigint generated always as identity,
  primary key (run_id, job, attempt, log_offset, name, ends)
);

create table tokens (
  digest bytea primary key,
  id text not null unique,
  role text not null check (role in ('operator', 'driver')),
  driver_names text[],
  created_ms bigint not null
);
comment on column tokens.digest is 'SHA-256 of the token; the token itself is stored nowhere here.';

create table commit_marks (
  lane uuid primary key,
  token uuid not null,
  marked_ms bigint not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table commit_marks is 'The newest transaction of each connection that commits flushes, to be found when the reply to COMMIT is lost.';

create table replicas (
  replica text primary key,
  version text not null,
  started_ms bigint not null,
  seen_ms bigint not null
) with (fillfactor = 50);

create table cluster (
  one boolean primary key default true check (one),
  grace_until_ms bigint not null default 0
);
insert into cluster default values;
comment on column cluster.grace_until_ms is 'After an outage nobody is declared lost before this time.';
