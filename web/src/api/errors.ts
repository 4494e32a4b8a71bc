/**
 * What a failed call tells: one message for people, and per-field messages for forms.
 * The API answers {status:"fail", data:{message?, errors?: {field: [text]}, ...}} when the caller is at
 * fault and {status:"error", message} when the server is; calls under /client/v4 answer {error: {message}}.
 */
export class ApiError extends Error {
  override name = 'ApiError';

  constructor(
    /** HTTP status; 0 when the server was not reached. */
    readonly status: number,
    message: string,
    /** First message of each field that was refused, by the API's field name. */
    readonly fields: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }

  /** The server could not be reached, or is starting or stopping: trying again may work. */
  get transient(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

const fallback: Record<number, string> = {
  0: 'The server cannot be reached. Check the connection and try again.',
  401: 'You are not logged in any more.',
  403: 'This is not allowed.',
  404: 'This does not exist any more.',
  413: 'This is too large.',
  429: 'Too many tries. Wait a moment and try again.',
  502: 'The server is not ready. Try again in a moment.',
  503: 'The server is not ready. Try again in a moment.',
};

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function firstText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.find((one): one is string => typeof one === 'string');
  return undefined;
}

function fieldMessages(errors: unknown): Record<string, string> {
  if (!isRecord(errors)) return {};
  const fields: Record<string, string> = {};
  for (const [field, value] of Object.entries(errors)) {
    const text = firstText(value);
    if (text) fields[field] = text;
  }
  return fields;
}

/** Makes an error of a failed reply, whatever its body looks like. */
export function errorFrom(status: number, body: unknown): ApiError {
  const plain =
    fallback[status] ?? (status >= 500 ? 'The server had a problem.' : 'The request was refused.');
  if (!isRecord(body)) return new ApiError(status, plain);
  if (typeof body.message === 'string' && body.message) return new ApiError(status, body.message);
  if (isRecord(body.error) && typeof body.error.message === 'string' && body.error.message) {
    return new ApiError(status, body.error.message.replace(/^BAD_REQUEST: /, ''));
  }
  const data = body.data;
  if (typeof data === 'string' && data) return new ApiError(status, data);
  if (!isRecord(data)) return new ApiError(status, plain);
  const fields = fieldMessages(data.errors);
  const first = Object.values(fields)[0];
  // "Validation errors" alone helps nobody: the first field's text does.
  const message =
    first ?? firstText(data.message) ?? Object.values(data).map(firstText).find(Boolean) ?? plain;
  return new ApiError(status, message, fields);
}

/** Any thrown value as text for a message. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
