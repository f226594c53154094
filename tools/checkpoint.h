// Where an interrupted `mattec quantize` stood, beside its output: what `--resume` goes on from.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/policy.h"
#include "quant/reconstruct.h"
#include "quant/train.h"

namespace mattec::tools {

struct Checkpoint {
  std::string command;  // what the result depends on
  quant::BitPolicy policy;
  ir::Graph start;  // rounded, nothing trained
  quant::ReconstructionRecord reconstruction;
  ir::Graph reconstructed;  // what training starts from; of no use where that was not reached
  quant::TrainingRecord training;
};

// Folder of x.mattec's checkpoint: x.checkpoint.
std::string checkpoint_path(const std::string& output);

// Paths of what it may consist of.
std::vector<std::string> checkpoint_files(const std::string& folder);

// Instead of the one that is there, in one step. Throws Error, also where the folder holds other
// files.
void write_checkpoint(const Checkpoint& checkpoint, const std::string& folder);
// Files of a checkpoint alone, and the folder if nothing else is in it. Nothing where `folder` is
// no folder.
void remove_checkpoint(const std::string& folder);

// Throws Error where there is none, where it is damaged, and where it was left by another command
// than `command`.
Checkpoint read_checkpoint(const std::string& folder, const std::string& command);

}  // namespace mattec::tools
