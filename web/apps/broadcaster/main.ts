import '$ui/app.css';
import { mount } from 'svelte';
import { startTheme } from '$ui/theme';
import App from './App.svelte';

startTheme();
const target = document.getElementById('app');
if (target) mount(App, { target });
