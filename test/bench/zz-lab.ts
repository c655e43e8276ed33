import { openLedger } from './ledger-recount.ts';
import { startChild } from './child.ts';
import { startServerProcess } from './zz-server.ts';
import { temporaryDirectory } from './temporary-directory.ts';
await using directory = await temporaryDirectory();
const dataDir = directory.path;
await using server = await startServerProcess(dataDir, process.env.PROF ? ["--trace-deprecation",'--cpu-prof','--cpu-prof-dir=/tmp/prof','--cpu-prof-name=server.cpuprofile'] : []);
const ledger = await openLedger(dataDir);
if (process.env.EXPLAIN) {
  await ledger.query("alter system set session_preload_libraries='auto_explain'"); await ledger.query("select pg_reload_conf()");
}
const { grpcAddress: address, operatorToken, driverToken } = server;
const drivers = [];
const stack = new AsyncDisposableStack();
for (let n = 0; n < 2; n++) drivers.push(stack.use(await startChild('./lifecycle-driver.ts', { address, token: driverToken, sessions: 25, slots: 20 }, process.env.PROF ? ["--trace-deprecation",'--cpu-prof','--cpu-prof-dir=/tmp/prof',`--cpu-prof-name=driver-${n}.cpuprofile`]:[])));
const creator = stack.use(await startChild('./lifecycle-creator.ts', { address, token: operatorToken }));
const N = +(process.argv[2] ?? 10000);
const samples = new Map(); let n = 0; let stop = false;
const sampler = (async () => { while (!stop) {
  const { rows } = await ledger.query("select application_name a, state, wait_event_type||':'||wait_event w, left(regexp_replace(query, '\\s+', ' ', 'g'), 70) q from pg_stat_activity where backend_type='client backend' and pid<>pg_backend_pid() and application_name like 'conveyor%' and state<>'idle'");
  n++; for (const r of rows) { const k = `${r.a} | ${r.state} | ${r.w ?? 'CPU'} | ${r.q}`; samples.set(k, (samples.get(k) ?? 0) + 1); }
  await new Promise(r => setTimeout(r, 10)); } })();
const t0 = Date.now(); const x0 = (await ledger.query('select xact_commit from pg_stat_database where datname=current_database()')).rows[0].xact_commit;
await creator.ask({ jobs: N });
console.log('created in', Date.now() - t0);
for (;;) { const { rows: [r] } = await ledger.query("select count(*)::int c from runs where state not in ('SUCCEEDED','FAILED')"); if (r.c === 0 || Date.now() - t0 > 60000) { console.log('open', r.c); break; } await new Promise(r => setTimeout(r, 50)); }
const ms = Date.now() - t0; console.log('done', ms, 'ms', Math.round(N / ms * 1000), 'jobs/s');
console.log('commits', (await ledger.query('select xact_commit from pg_stat_database where datname=current_database()')).rows[0].xact_commit - x0); stop = true; await sampler;
for (const [k, v] of [...samples].sort((a, b) => b[1] - a[1]).slice(0, 40)) console.log((v / n * 100).toFixed(1) + '%', k);
for (const q of ["select state, count(*) from jobs group by 1", "select state, failure->>'class' c, failure->>'message' m, count(*) from attempts group by 1,2,3", "select state, count(*) from runs group by 1","select xact_commit, xact_rollback, tup_fetched, tup_returned from pg_stat_database where datname=current_database()","select type, count(*) from events group by 1 order by 2 desc", "select relname, n_tup_ins i, n_tup_upd u, n_tup_hot_upd h, n_tup_del d, seq_scan, seq_tup_read, idx_scan from pg_stat_user_tables order by 1"]) console.table((await ledger.query(q)).rows);
await ledger.end();
await stack.disposeAsync();
