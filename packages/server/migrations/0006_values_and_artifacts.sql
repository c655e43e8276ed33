-- Values that the jobs of a run and its platform share, by key, and references to what attempts made. Values are written under the lock of
-- the row of their run, which counts their versions.

create table run_values (
  run_id uuid not null,
  key text collate "C" not null,
  project text not null,
  value json not null,
  bytes int not null check (bytes > 0),
  version bigint not null check (version >= 1),
  updated_ms bigint not null,
  primary key (run_id, key)
) with (fillfactor = 70);
comment on column run_values.bytes is 'Of key and value as JSON.';

-- No row is rewritten.
alter table runs add column value_version bigint not null default 0;
comment on column runs.value_version is 'The newest version of any value that the run has or had.';
alter table attempts add column value_write json;
comment on column attempts.value_write is 'What its driver changed last of the values of its run, and what came of it: so that saying it again has no second effect.';

-- What attempts made and is kept elsewhere, by reference. An attempt counts its own, so that its row alone says which comes next.
create table artifacts (
  run_id uuid not null,
  job int not null,
  attempt int not null,
  number int not null check (number >= 1),
  project text not null,
  artifact json not null,
  added_ms bigint not null,
  primary key (run_id, job, attempt, number)
) with (autovacuum_vacuum_insert_scale_factor = 0.5);
alter table attempts add column artifacts int not null default 0;
