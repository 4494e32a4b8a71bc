"""The load tool behind `stagecast bench`: clips, signalling, the run, its report."""
