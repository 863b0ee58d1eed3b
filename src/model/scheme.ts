/** What a location is: a URI with a scheme, or a path. Workflow-safe. */

/** In lower case; null of a path. What begins as an HTTP URL is a wrong one rather than a path: a path may be kept, and a URL may hold a password. */
export function schemeOf(location: string): string | null {
  const [, scheme, http] = /^(?:([a-z][a-z0-9+.-]*):\/\/|\s*(https?):)/i.exec(location) ?? [];
  return (scheme ?? http)?.toLowerCase() ?? null;
}

/** On a file system: a path, or a `file://` URI. */
export function isLocal(location: string): boolean {
  return [null, 'file'].includes(schemeOf(location));
}

/** Also of one that is written wrongly, as `https:/host/x`. */
export function isHttp(location: string): boolean {
  return ['http', 'https'].includes(schemeOf(location) ?? '');
}
