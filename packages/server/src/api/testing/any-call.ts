// Calls any unary or server streaming method, so that tests can be tables.
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
} from '@bufbuild/protobuf';
import { ConnectError, createContextValues, type Transport } from '@connectrpc/connect';
import { TextPlacesSchema } from '@conveyor/protocol/conveyor/v1/error_pb.js';
import { BadRequestSchema, ErrorInfoSchema } from '@conveyor/protocol/google/rpc/error_details_pb.js';

export interface CallSettings {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** Makes one call; of a stream, answers with the last message. */
export async function call(
  transport: Transport,
  method: DescMethod,
  request: MessageInitShape<DescMessage>,
  { headers = {}, signal, timeoutMs }: CallSettings = {},
): Promise<Message> {
  const message = create(method.input, request);
  if (method.methodKind === 'unary') {
    const unary = method as DescMethodUnary;
    return (await transport.unary(unary, signal, timeoutMs, headers, message, createContextValues())).message;
  }
  const streaming = method as DescMethodServerStreaming;
  const { message: messages } = await transport.stream(streaming, signal, timeoutMs, headers, one(message));
  let last: Message | undefined;
  for await (const part of messages) last = part;
  if (last === undefined) throw new Error('the stream was empty');
  return last;
}

/** What a refused call ends with; fails when it succeeds. */
export async function refusalOf(answer: Promise<unknown>): Promise<{
  readonly code: number;
  readonly message: string;
  readonly reason: string | undefined;
  readonly domain: string | undefined;
  readonly metadata: Record<string, string> | undefined;
  readonly violations: readonly { field: string; description: string }[];
  readonly places: readonly { violation: number; offset: number }[];
}> {
  const error: unknown = await answer.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error('the call was not refused', { cause: error });
  const [info] = error.findDetails(ErrorInfoSchema);
  const [badRequest] = error.findDetails(BadRequestSchema);
  return {
    code: error.code,
    message: error.rawMessage,
    reason: info?.reason,
    domain: info?.domain,
    metadata: info?.metadata,
    violations: (badRequest?.fieldViolations ?? []).map(({ field, description }) => ({ field, description })),
    places: error.findDetails(TextPlacesSchema).flatMap(({ places }) => places),
  };
}

async function* one<T>(message: T) {
  yield message;
}
