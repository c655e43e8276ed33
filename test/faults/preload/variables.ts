// Names the environment by which the suite tells its processes what to be like.

/** File that a driver's sessions are written down in. */
export const journalVariable = 'CONVEYOR_FAULTS_JOURNAL';
/** A seed: a driver's frames are repeated and reordered by it. */
export const meddleVariable = 'CONVEYOR_FAULTS_MEDDLE';
/** How wrong the wall clock is, in milliseconds. */
export const skewVariable = 'CONVEYOR_FAULTS_CLOCK_SKEW_MS';
/** A SourceMutation as JSON. */
export const mutationVariable = 'CONVEYOR_FAULTS_MUTATION';
