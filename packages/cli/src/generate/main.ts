// Writes the JSON Schemas of files into a directory: `buf build proto -o -#format=binpb | node generate/main.ts DIRECTORY`.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { pipelineFile } from '../pipeline-file.ts';
import { scheduleFile } from '../schedule-file.ts';
import { commentsOf } from './comments.ts';
import { messageSchema } from './message-schema.ts';

const [directory = ''] = process.argv.slice(2);
const { file } = fromBinary(FileDescriptorSetSchema, await buffer(process.stdin));
const comments = commentsOf(file);
const schemas = {
  pipeline: messageSchema(pipelineFile, 'A pipeline of Conveyor', comments),
  schedule: messageSchema(scheduleFile, 'A schedule of Conveyor', comments),
};
await mkdir(directory, { recursive: true });
for (const [name, schema] of Object.entries(schemas)) {
  await writeFile(join(directory, `${name}.schema.json`), `${JSON.stringify(schema, undefined, 2)}\n`);
}
