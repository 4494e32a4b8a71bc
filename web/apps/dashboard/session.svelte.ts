/**
 * Who is logged in. Until `state` is "in" no page is shown; when a call finds the session ended the
 * log-in form comes up at the same address, and the page goes on after logging in.
 */
import * as api from '$api';
import { ApiError, type ServerInfo, type Session, setCsrfToken, whenLoggedOut } from '$api';

type State = 'starting' | 'unreachable' | 'out' | 'in';

class SessionStore {
  state = $state<State>('starting');
  user = $state<Session['user'] | null>(null);
  server = $state<ServerInfo | null>(null);
  /** The session ended by itself: the log-in form says so. */
  expired = $state(false);

  constructor() {
    whenLoggedOut(() => {
      if (this.state !== 'in') return;
      this.expired = true;
      this.#leave();
    });
  }

  async start(): Promise<void> {
    this.state = 'starting';
    try {
      await this.#enter(await api.getSession());
    } catch (error) {
      if (error instanceof ApiError && error.transient) this.state = 'unreachable';
      else this.#leave();
    }
  }

  async login(email: string, password: string): Promise<void> {
    await this.#enter(await api.login(email, password));
  }

  async changePassword(current: string, next: string): Promise<void> {
    await this.#enter(await api.changePassword(current, next));
  }

  async logout(): Promise<void> {
    await api.logout();
    this.expired = false;
    this.#leave();
  }

  async #enter(session: Session): Promise<void> {
    setCsrfToken(session.csrfToken);
    // Nothing else may be called before a one-time password is changed.
    if (!session.user.mustChangePassword) this.server = await api.getServer();
    this.user = session.user;
    this.expired = false;
    this.state = 'in';
  }

  #leave(): void {
    setCsrfToken('');
    this.user = null;
    this.server = null;
    this.state = 'out';
  }
}

export const session = new SessionStore();
