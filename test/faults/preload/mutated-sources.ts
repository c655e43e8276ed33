// Imported before a server's own program: replaces one exact snippet in one of its source files when that is loaded. A snippet that is
// not there, or not once, ends the process, so that a mutation that no longer applies cannot pass for one that was caught.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { mutationVariable } from './variables.ts';

/** What is replaced. The file is named from the root of the repository. */
export interface SourceMutation {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const text = process.env[mutationVariable];
if (text !== undefined) mutate(JSON.parse(text) as SourceMutation);

function mutate({ file, find, replace }: SourceMutation): void {
  const mutated = new URL(`../../../${file}`, import.meta.url).href;
  registerHooks({
    load(url, context, nextLoad) {
      if (url !== mutated) return nextLoad(url, context);
      const parts = readFileSync(fileURLToPath(url), 'utf8').split(find);
      if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times, and not once: ${find}`);
      return { format: 'module-typescript', source: parts.join(replace), shortCircuit: true };
    },
  });
}
