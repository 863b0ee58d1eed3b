/** What a location is: a URI with a scheme, or a path. Workflow-safe. */

/** In lower case; null of a path. */
export function schemeOf(location: string): string | null {
  return /^([a-z][a-z0-9+.-]*):\/\//i.exec(location)?.[1]?.toLowerCase() ?? null;
}

/** On a file system: a path, or a `file://` URI. */
export function isLocal(location: string): boolean {
  return [null, 'file'].includes(schemeOf(location));
}
