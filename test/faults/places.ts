// Opens the places of a stage, each with what its replicas are started with: secrets, a wrong clock, a defect.
import type { ReplicaOptions, System } from '../e2e/system.ts';
import { secretName } from './load/shapes.ts';
import { openPlace, type Place } from './place.ts';
import { preload } from './preload/preload.ts';
import { mutationVariable, skewVariable } from './preload/variables.ts';
import type { StageOptions } from './stage-options.ts';

/**
 * @param ways Keeps the places until whoever goes by them has stopped.
 * @param secret The value of the secret that jobs ask for.
 * @param first What is special about the first process at each place.
 */
export async function openPlaces(
  ways: AsyncDisposableStack,
  system: System,
  { replicas, mutation, skewsMs }: StageOptions,
  secret: string,
  first: ReplicaOptions,
): Promise<Place[]> {
  const places = await Promise.all(
    Array.from({ length: replicas }, (_, index) => {
      const skewMs = skewsMs[index % Math.max(1, skewsMs.length)] ?? 0;
      const always: ReplicaOptions = {
        secrets: { [secretName]: secret },
        preload: [
          ...(mutation === undefined ? [] : [preload('mutated-sources')]),
          ...(skewMs === 0 ? [] : [preload('skewed-clock')]),
        ],
        env: {
          [skewVariable]: String(skewMs),
          ...(mutation !== undefined && { [mutationVariable]: JSON.stringify(mutation) }),
        },
      };
      return openPlace(`replica-${index}`, system, always, first);
    }),
  );
  for (const place of places) ways.use(place);
  return places;
}
