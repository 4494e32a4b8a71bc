import '../../src/ui/tokens.css';
import { startTheme } from '../../src/ui/theme';

startTheme();
