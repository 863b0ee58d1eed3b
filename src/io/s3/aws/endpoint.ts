/** Which host a client asks, which the SDK keeps to itself. */
import { isIP } from 'node:net';
import type { S3Client } from '@aws-sdk/client-s3';

/**
 * Gives where a bucket is asked for: at the endpoint that the SDK has resolved for its last request, whoever set it.
 *
 * Endpoints without names for buckets (this machine, and addresses in digits) are asked in path style, unless settings say.
 */
export function watchEndpoint(
  client: S3Client,
  { preferPathStyle, region }: { readonly preferPathStyle: boolean; readonly region: string },
): (bucket: string) => Promise<URL> {
  const provide = client.config.endpointProvider;
  let seen: string | undefined;
  client.config.endpointProvider = (parameters, context) => {
    const { Endpoint: endpoint } = parameters as { readonly Endpoint?: string };
    seen = endpoint ?? seen;
    return provide(
      preferPathStyle && endpoint !== undefined && isBareHost(endpoint) ? { ...parameters, ForcePathStyle: true } : parameters,
      context,
    );
  };
  return async (bucket) => {
    // The SDK keeps one from the environment to itself until it has asked.
    const endpoint = seen ?? (await configuredEndpoint(client));
    return client.config.endpointProvider({ Bucket: bucket, Region: region, ...customEndpoint(endpoint) }).url;
  };
}

function isBareHost(endpoint: string): boolean {
  const { hostname } = new URL(endpoint);
  return hostname === 'localhost' || hostname.endsWith('.localhost') || isIP(hostname.replace(/^\[|\]$/g, '')) !== 0;
}

async function configuredEndpoint(client: S3Client): Promise<string | undefined> {
  const found = await client.config.endpoint?.();
  if (found === undefined) return undefined;
  const port = found.port === undefined ? '' : `:${found.port}`;
  return `${found.protocol}//${found.hostname}${port}${found.path}`;
}

function customEndpoint(endpoint: string | undefined): { Endpoint?: string; ForcePathStyle?: boolean } {
  return endpoint === undefined ? {} : { Endpoint: endpoint, ForcePathStyle: true };
}
