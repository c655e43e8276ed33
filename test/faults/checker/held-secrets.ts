// 11. Nobody is shown anything of another project, and a secret is nowhere in clear text: not in a table, a log, an event or an error.
import type { Evidence } from './evidence.ts';

export async function heldSecrets({ history, journal, printed, planted, database }: Evidence): Promise<string[]> {
  const found: string[] = [];
  const clients = JSON.stringify(history);
  const drivers = JSON.stringify(journal);
  for (const [what, text] of Object.entries({ clients, drivers, 'the logs of servers': printed })) {
    if (text.includes(planted.secret)) found.push(`the secret was shown to ${what}`);
    if (text.includes(planted.foreign)) found.push(`what belongs to another project was shown to ${what}`);
  }
  const tables = await database.query<{ name: string }>(
    `select quote_ident(table_name) as name from information_schema.tables
     where table_schema = current_schema() and table_type = 'BASE TABLE'`,
  );
  for (const { name } of tables.rows) {
    const { rowCount } = await database.query(
      `select 1 from ${name} t where position($1 in t::text) > 0 or position($2 in t::text) > 0 limit 1`,
      // Bytes are shown as hexadecimal digits.
      [planted.secret, Buffer.from(planted.secret).toString('hex')],
    );
    if (rowCount !== 0) found.push(`the secret is in the table ${name}`);
  }
  return found;
}
