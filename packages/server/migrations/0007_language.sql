-- What runs make of what their definitions leave open, and the runs that calls wait for. No row is rewritten.

alter table jobs add column details json;
comment on column jobs.details is 'What the run has worked out for the job: its condition and spec, answers to a gate, the run of a call.';
comment on column jobs.inherited_outputs is 'Outputs that are not those of an attempt of its own: of a job taken over, a matrix, a gate, a call.';

create table calls (
  run_id uuid not null,
  job int not null,
  project text not null,
  child_run uuid,
  primary key (run_id, job)
);
comment on table calls is 'The calls that wait, each with the run that it waits for once there is one.';
