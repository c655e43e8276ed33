// The pipeline of the demo, twice: made by the builder, and read from pipeline.yaml. Both are the same definition.
import { readFile } from 'node:fs/promises';
import { parsePipeline } from '@conveyor/cli';
import { pipeline, type PipelineInput } from '@conveyor/client';

const source = { workspace: 'run', workingDirectory: 'source' };

/** Checks and packages the repository that the param names; `report` tells of it whatever came of that. */
export const demoPipeline = pipeline('demo', {
  paramsSchema: {
    type: 'object',
    required: ['repository'],
    additionalProperties: false,
    properties: { repository: { type: 'string', minLength: 1 } },
  },
})
  .job('clone', {
    driver: 'shell',
    timeouts: { runTimeout: '2m' },
    spec: {
      workspace: 'run',
      commands: [
        `git clone --quiet "$PARAM_REPOSITORY" source`,
        `git -C "$PARAM_REPOSITORY" diff HEAD --binary >uncommitted.patch`,
        `if [ -s uncommitted.patch ]; then git -C source apply --whitespace=nowarn "$PWD/uncommitted.patch"; fi`,
        `git -C "$PARAM_REPOSITORY" ls-files -z --others --exclude-standard >new-files`,
        `tar -C "$PARAM_REPOSITORY" --null -T new-files -cf - | tar -C source -xf -`,
        `git -C source log -1 --format='%h %s'`,
        `git -C source status --short`,
        `echo "commit=$(git -C source rev-parse --short HEAD)" >>"$CONVEYOR_OUTPUT"`,
        `echo "uncommitted=$(git -C source status --short | wc -l | tr -d ' ')" >>"$CONVEYOR_OUTPUT"`,
      ],
    },
  })
  .job('install', {
    driver: 'shell',
    needs: ['clone'],
    timeouts: { runTimeout: '5m' },
    spec: {
      ...source,
      commands: [
        `if pnpm install --offline --frozen-lockfile; then exit; fi`,
        `echo "pnpm's store does not hold everything, so these are the modules of $PARAM_REPOSITORY"`,
        `rm -rf node_modules`,
        `ln -s "$PARAM_REPOSITORY/node_modules" node_modules`,
        `for room in examples test packages/*; do`,
        `rm -rf "$room/node_modules"`,
        `cp -RP "$PARAM_REPOSITORY/$room/node_modules" "$room"`,
        `done`,
      ],
    },
  })
  .job('type-check', {
    driver: 'shell',
    needs: ['install'],
    timeouts: { runTimeout: '5m' },
    spec: { ...source, commands: [`node_modules/.bin/tsc -b`, `echo 'no type errors'`] },
  })
  .job('lint', {
    driver: 'shell',
    needs: ['install'],
    timeouts: { runTimeout: '5m' },
    spec: {
      ...source,
      commands: [`node_modules/.bin/oxlint --type-aware --format=unix`, `echo 'nothing to complain of'`],
    },
  })
  .job('unit-tests', {
    driver: 'shell',
    needs: ['install'],
    timeouts: { runTimeout: '5m' },
    spec: {
      ...source,
      commands: [
        `node_modules/.bin/vitest run --config test/demo/unit.config.ts --reporter=default --reporter=json --outputFile.json=../tests.json`,
        `echo "tests=$(node -p 'require("../tests.json").numPassedTests')" >>"$CONVEYOR_OUTPUT"`,
      ],
    },
  })
  .job('package', {
    driver: 'shell',
    needs: ['type-check', 'lint', 'unit-tests'],
    timeouts: { runTimeout: '2m' },
    spec: {
      ...source,
      commands: [
        `pnpm -r --filter './packages/*' pack --pack-destination "$CONVEYOR_RUN_WORKSPACE/packages" >pack.log`,
        `ls -l "$CONVEYOR_RUN_WORKSPACE/packages"`,
      ],
    },
  })
  .job('checksum', {
    driver: 'shell',
    needs: ['package'],
    timeouts: { runTimeout: '1m' },
    spec: {
      workspace: 'run',
      workingDirectory: 'packages',
      commands: [`sha256sum *.tgz`, `sha256sum *.tgz | awk '{ print $2 "=" $1 }' >>"$CONVEYOR_OUTPUT"`],
    },
  })
  .job('report', {
    driver: 'shell',
    needs: ['clone', 'install', 'type-check', 'lint', 'unit-tests', 'package', 'checksum'],
    when: 'always',
    timeouts: { runTimeout: '1m' },
    spec: {
      shell: ['node'],
      commands: [
        `const { appendFileSync, readFileSync } = require('node:fs');`,
        `const needs = JSON.parse(readFileSync(process.env.CONVEYOR_NEEDS, 'utf8'));`,
        `for (const job in needs) console.log(job.padEnd(12) + needs[job].state.padEnd(11) + JSON.stringify(needs[job].outputs));`,
        `const unsuccessful = Object.keys(needs).filter((job) => needs[job].state !== 'SUCCEEDED').join(' ') || 'none';`,
        `console.log('jobs without success ' + unsuccessful);`,
        `appendFileSync(process.env.CONVEYOR_OUTPUT, 'unsuccessful=' + unsuccessful);`,
      ],
    },
  });

/** The same, from YAML. */
export async function yamlPipeline(): Promise<PipelineInput> {
  const text = await readFile(new URL('pipeline.yaml', import.meta.url), 'utf8');
  const { name = '', definition } = parsePipeline(text, 'pipeline.yaml');
  return { name, definition };
}
