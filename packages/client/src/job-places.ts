// Owns where a job may go: which instances of its driver, by the labels that they publish.

/** Which instances of a driver. */
export interface SelectorOptions {
  /** Only instances for which all of these hold. Default: any. */
  readonly required?: readonly LabelRuleOptions[] | undefined;
  /** Of those with a free slot the ones for which most of these hold. Default: none. */
  readonly preferred?: readonly LabelRuleOptions[] | undefined;
}

/** What holds for an instance or not. */
export interface LabelRuleOptions {
  /** The key of a label. */
  readonly key: string;
  /** How the label is compared. Default: `equals`. */
  readonly operator?: 'equals' | 'in' | 'not_in' | 'exists' | 'not_exists' | 'greater_than' | 'less_than' | undefined;
  /** One for `equals`, `greater_than` and `less_than`, 1 to 64 for `in` and `not_in`, none for `exists` and `not_exists`. */
  readonly values?: readonly string[] | undefined;
}
