/** The hosted viewer: a page, or an iframe in someone else's page, with nothing but the player. */
import '$ui/fonts.css';
import '$ui/tokens.css';
import './page.css';
import { readParams } from './params';
import { StagecastPlayer } from './player';
import { strings } from './strings';

customElements.define('stagecast-player', StagecastPlayer);

const params = readParams(location.search);
const app = document.getElementById('app') ?? document.body;
app.setAttribute('role', 'main');
const player = document.createElement('stagecast-player') as StagecastPlayer;
app.replaceChildren(player);
if (params) {
  document.title = strings.title(params.streamName);
  player.play(params);
} else {
  player.refuse({ ...strings.problems.noStream, detail: null });
}
