// Owns how lists are read: page after page, each fetched only when the reader gets there.
import type { CallOptions } from './call.ts';

/** How a list is read; `signal` and `timeoutMs` are those of each page's call. */
export interface ListOptions extends CallOptions {
  /** How many to fetch at a time. Default: the server's. */
  readonly pageSize?: number;
}

/** One page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

/** Yields the items of all pages. */
export async function* paged<Item>(
  fetchPage: (page: { pageSize: number; pageToken: string }) => Promise<Page<Item>>,
  options: ListOptions,
): AsyncGenerator<Item, void, void> {
  let pageToken = '';
  do {
    const page = await fetchPage({ pageSize: options.pageSize ?? 0, pageToken });
    yield* page.items;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}
