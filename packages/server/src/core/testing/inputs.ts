// Definitions as they are written, with nothing set.
import type { DefinitionInput, JobInput } from '../check-definition.ts';

export function jobInput(name: string, rest: Partial<JobInput> = {}): JobInput {
  return { name, driver: 'shell', needs: [], secrets: [], allowFailure: false, ...rest };
}

export function definitionInput(jobs: readonly JobInput[], rest: Partial<DefinitionInput> = {}): DefinitionInput {
  return { jobs, labels: {}, stages: [], env: {}, failFast: false, ...rest };
}
