// Names the modules that processes of the suite import before anything else.
/** The file of a module of this directory, to be imported before a process's own program. */
export function preload(name: 'mutated-sources' | 'skewed-clock' | 'tapped-sessions'): URL {
  return new URL(`./${name}.ts`, import.meta.url);
}
