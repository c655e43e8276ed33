// Owns how lists are read: page after page, each fetched only when the reader gets there.

/** How a list is read. */
export interface ListOptions {
  /** How many to fetch at a time. Default: the server's. */
  readonly pageSize?: number;
  /** Ends the list by throwing the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** One page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

/** Yields the items of all pages. */
export async function* paged<Item>(
  fetchPage: (request: { pageSize: number; pageToken: string }) => Promise<Page<Item>>,
  options: ListOptions,
): AsyncGenerator<Item, void, void> {
  let pageToken = '';
  do {
    const page = await fetchPage({ pageSize: options.pageSize ?? 0, pageToken });
    yield* page.items;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}
