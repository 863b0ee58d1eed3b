/** As whom a client asks, and in which region: as settings say, else as the SDK finds it. */
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import type { S3Profile } from '../../storage/settings.ts';

/** Where neither settings nor environment name one: AWS says where a bucket really is, other stores do not mind. */
const DEFAULT_REGION = 'us-east-1';

export async function regionOf(profile: S3Profile | null): Promise<string> {
  return profile?.region ?? (await configuredRegion(profile)) ?? DEFAULT_REGION;
}

async function configuredRegion(profile: S3Profile | null): Promise<string | null> {
  const probe = new S3Client(profile?.profile === undefined ? {} : { profile: profile.profile });
  try {
    return await probe.config.region();
  } catch {
    return null;
  } finally {
    probe.destroy();
  }
}

export async function identityOf(profile: S3Profile | null, region: string): Promise<S3ClientConfig> {
  if (profile?.unsigned === true)
    return { credentials: { accessKeyId: '', secretAccessKey: '' }, signer: { sign: async (request) => request } };
  const { fromTemporaryCredentials, fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
  const role = profile?.role_arn;
  // The SDK asks once, and again where they expire or are asked for anew. Made anew each time, and from the files as they are: of both it would
  // keep what it has once read for as long as the process lives.
  const provider = () => {
    const own = fromNodeProviderChain({ ...(profile?.profile === undefined ? {} : { profile: profile.profile }), ignoreCache: true });
    if (role === undefined) return own;
    const params = { RoleArn: role, RoleSessionName: 'checkpoint-pipeline' };
    return fromTemporaryCredentials({ params, masterCredentials: own, clientConfig: { region } });
  };
  return { credentials: (properties) => provider()(properties) };
}

/** The same in words. */
export function identityText(profile: S3Profile | null): string {
  if (profile?.unsigned === true) return 'no credentials (unsigned requests)';
  const base = profile?.profile === undefined ? 'the AWS default chain' : `the AWS profile ${profile.profile}`;
  return `the credentials of ${base}${profile?.role_arn === undefined ? '' : ` in the role ${profile.role_arn}`}`;
}
