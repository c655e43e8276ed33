-- Values that the jobs of a run and its platform share, by key. Written under the lock of the run's row, which counts their versions.

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
