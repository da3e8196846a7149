#!/usr/bin/env bash
# A SLURM job that renders a run: copy it, change the three lines that say so, and submit it with sbatch.
#
# It splits the frames of one view over the tasks: on one machine that was faster than one picture on many
# processes (see the README). For data too large for one process, use the last line instead.
#SBATCH --job-name=tensorview-insitu
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=00:30:00
set -euo pipefail

run=${1:-runs/cxr}            # change: the run
view=${2:-kernel_propagation} # change: the view
environment=.venv             # change: where the package is installed
# module load paraview        # change: if ParaView is a module here

# Without a display render starts Xvfb; ParaView 6 and builds with EGL or OSMesa draw without one.
"$environment/bin/tensorview-insitu" render --view "$view" --all --movie \
  --jobs "${SLURM_CPUS_PER_TASK:-1}" -- "$run"

# One picture on many processes:
# "$environment/bin/tensorview-insitu" render --view "$view" --mpi "${SLURM_NTASKS:-1}" -- "$run"
