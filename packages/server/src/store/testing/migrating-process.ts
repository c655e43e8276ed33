// Owns a process that migrates one schema once it is told to begin, so that tests can have several do it at the same moment.
// Prints `ready`, waits for a line on its input, and prints the versions that it applied as JSON.
import { once } from 'node:events';
import { createPools } from '../connect.ts';
import { migrate } from '../migrate.ts';

const [connection = '', schema = ''] = process.argv.slice(2);
const pools = await createPools({ connection, schema, poolSize: 1 });
console.log('ready');
await once(process.stdin, 'data');
process.stdin.destroy();
console.log(JSON.stringify(await migrate(pools.pool, schema)));
await pools[Symbol.asyncDispose]();
