/** What every new token has, as it is typed: a label, a stream name or any, and perhaps an end. */
import * as api from '$api';
import { checkExpiry, checkLabel, checkStreamName, randomStreamName, secondsUntil } from '../forms';
import { type NamingValue, ruleOf } from './NamingFields.svelte';

interface NewToken {
  label: string;
  streams: api.TokenStream[];
  expires?: number;
}

export class TokenForm {
  label = $state('');
  naming = $state<NamingValue>({ naming: 'name', name: '', random: '' });
  temporary = $state(false);
  expiresAt = $state('');
  busy = $state(false);
  errors = $state<{ label?: string; stream?: string; tracking?: string; expires?: string; form?: string }>(
    {},
  );

  reset(): void {
    this.label = this.expiresAt = '';
    this.naming = { naming: 'name', name: '', random: randomStreamName() };
    this.temporary = this.busy = false;
    this.errors = {};
  }

  /** Checks what was typed and makes the token; undefined when that is not possible, with the errors set. */
  async submit<T>(create: (token: NewToken) => Promise<T>): Promise<T | undefined> {
    const rule = ruleOf(this.naming);
    this.errors = {
      label: checkLabel(this.label),
      stream: checkStreamName(rule.streamName, rule.isRegex),
      expires: this.temporary ? checkExpiry(this.expiresAt) : undefined,
    };
    if (Object.values(this.errors).some(Boolean) || this.busy) return undefined;
    this.busy = true;
    try {
      return await create({
        label: this.label.trim(),
        streams: [rule],
        ...(this.temporary && { expires: secondsUntil(this.expiresAt) }),
      });
    } catch (error) {
      const fields = error instanceof api.ApiError ? error.fields : {};
      const of = (name: string) => Object.entries(fields).find(([field]) => field.startsWith(name))?.[1];
      this.errors = {
        label: of('label'),
        stream: of('streams'),
        tracking: of('tracking'),
        expires: of('expires'),
      };
      if (!Object.values(this.errors).some(Boolean)) this.errors.form = api.messageOf(error);
      return undefined;
    } finally {
      this.busy = false;
    }
  }
}
