// Imported before a driver's own program: its sessions are written down in the journal that the environment names.
import { openJournal } from '../drivers/journal.ts';
import { tapSessions } from '../drivers/session-tap.ts';
import { createRandom } from '../random.ts';
import { journalVariable, meddleVariable } from './variables.ts';

const file = process.env[journalVariable];
const seed = process.env[meddleVariable];
if (file !== undefined) {
  tapSessions({ write: openJournal(file), meddle: seed === undefined ? undefined : createRandom(Number(seed)) });
}
