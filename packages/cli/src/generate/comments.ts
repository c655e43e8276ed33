// Owns the comments of protobuf files, which their descriptors hold by numbered paths.
import type { DescriptorProto, EnumDescriptorProto, FileDescriptorProto } from '@bufbuild/protobuf/wkt';
import type { Comments } from './message-schema.ts';

/** The numbers of fields in FileDescriptorProto and below, of which paths consist. */
const numbers = {
  file: { message: 4, enum: 5 },
  message: { field: 2, message: 3, enum: 4 },
  enum: { value: 2 },
} as const;

/** The comments above messages, fields, enums and their values, each as one line. */
export function commentsOf(files: readonly FileDescriptorProto[]): Comments {
  const comments = new Map<string, string>();
  for (const file of files) {
    const byPath = new Map(
      file.sourceCodeInfo?.location.map(({ path, leadingComments }) => [path.join('.'), leadingComments]),
    );
    const add = (name: string, path: readonly number[]) => {
      const comment = byPath
        .get(path.join('.'))
        ?.trim()
        .replaceAll(/\s*\n\s*/g, ' ');
      if (comment !== undefined && comment !== '') comments.set(name, comment);
    };
    const addEnum = (scope: string, desc: EnumDescriptorProto, path: readonly number[]) => {
      add(`${scope}.${desc.name}`, path);
      desc.value.forEach(({ name }, index) =>
        add(`${scope}.${desc.name}.${name}`, [...path, numbers.enum.value, index]),
      );
    };
    const addMessage = (scope: string, desc: DescriptorProto, path: readonly number[]) => {
      const name = `${scope}.${desc.name}`;
      add(name, path);
      desc.field.forEach((field, index) => add(`${name}.${field.name}`, [...path, numbers.message.field, index]));
      desc.nestedType.forEach((nested, index) => addMessage(name, nested, [...path, numbers.message.message, index]));
      desc.enumType.forEach((nested, index) => addEnum(name, nested, [...path, numbers.message.enum, index]));
    };
    file.messageType.forEach((desc, index) => addMessage(file.package, desc, [numbers.file.message, index]));
    file.enumType.forEach((desc, index) => addEnum(file.package, desc, [numbers.file.enum, index]));
  }
  return comments;
}
