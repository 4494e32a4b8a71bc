"""The media core as the rest of Python sees it; nothing else imports `stagecast._core`."""
