#include "tools/checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/staged_path.h"
#include "ir/model_file.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Files of the folder.
constexpr const char* state_file = "state.json";
constexpr const char* policy_file = "policy.json";
constexpr const char* training_file = "training.pt";
constexpr const char* start_file = "start.mattec";
constexpr const char* before_block_file = "before_block.mattec";
constexpr const char* reconstructed_file = "reconstructed.mattec";
constexpr const char* all_files[] = {state_file, policy_file,       training_file,
                                     start_file, before_block_file, reconstructed_file};

std::string in(const std::string& folder, const char* file) {
  return (fs::path(folder) / file).string();
}

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path + ": cannot read; quantize again without --resume");
  return {std::istreambuf_iterator<char>(file), {}};
}

// File names may have bytes that are no UTF-8.
std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void write_text(const std::string& path, const std::string& text) {
  write_file(path, text.data(), text.size(), path);
}

// The folder will be replaced as a whole.
void require_no_other_files(const std::string& folder) {
  std::error_code none;
  for (fs::directory_iterator entry(folder, none), end; !none && entry != end;
       entry.increment(none)) {
    const std::string name = entry->path().filename().string();
    if (std::find(std::begin(all_files), std::end(all_files), name) == std::end(all_files))
      throw Error(
          fmt::format("{}: holds a file that is no checkpoint's ({}); move it away", folder, name));
  }
}

Json blocks_json(const quant::ReconstructionRecord& record) {
  Json blocks = Json::array();
  for (const quant::ReconstructedBlock& block : record.blocks)
    blocks.push_back({block.name, block.steps, block.ratio, block.alpha_ratio});
  return blocks;
}

Json state_json(const Checkpoint& checkpoint) {
  const quant::ReconstructionRecord& blocks = checkpoint.reconstruction;
  const quant::TrainingRecord& training = checkpoint.training;
  Json state = {{"command", checkpoint.command},
                {"reconstruction", {{"loss", blocks.loss}, {"blocks", blocks_json(blocks)}}},
                {"training",
                 {{"loss", training.loss},
                  {"validation", training.validation},
                  {"best_step", training.best_step}}}};
  if (blocks.stopped)
    state["reconstruction"]["stopped"] = {blocks.stopped->blocks, blocks.stopped->steps};
  return state;
}

void read_state(const Json& state, Checkpoint& checkpoint) {
  const Json &blocks = state.at("reconstruction"), &training = state.at("training");
  blocks.at("loss").get_to(checkpoint.reconstruction.loss);
  for (const Json& block : blocks.at("blocks"))
    checkpoint.reconstruction.blocks.push_back({block.at(0).get<std::string>(),
                                                block.at(1).get<int>(), block.at(2).get<double>(),
                                                block.at(3).get<double>()});
  if (blocks.contains("stopped"))
    checkpoint.reconstruction.stopped = {
        {}, blocks["stopped"].at(0).get<size_t>(), blocks["stopped"].at(1).get<size_t>()};
  training.at("loss").get_to(checkpoint.training.loss);
  training.at("validation").get_to(checkpoint.training.validation);
  training.at("best_step").get_to(checkpoint.training.best_step);
}

}  // namespace

std::vector<std::string> checkpoint_files(const std::string& folder) {
  std::vector<std::string> files;
  files.reserve(std::size(all_files));
  for (const char* file : all_files) files.push_back(in(folder, file));
  return files;
}

std::string checkpoint_path(const std::string& output) {
  return fs::path(output).replace_extension(".checkpoint").string();
}

void write_checkpoint(const Checkpoint& checkpoint, const std::string& folder) {
  require_no_other_files(folder);
  StagedPath staged(folder, StagedPath::Kind::folder);
  const std::string& hidden = staged.path();
  staged.with_final_name([&] {
    write_text(in(hidden, state_file), dumped(state_json(checkpoint)));
    write_text(in(hidden, policy_file), quant::policy_json(checkpoint.policy));
    ir::write_model(checkpoint.start, in(hidden, start_file));
    if (checkpoint.reconstruction.stopped)
      ir::write_model(checkpoint.reconstruction.stopped->network, in(hidden, before_block_file));
    if (!checkpoint.training.state.empty()) {
      ir::write_model(checkpoint.reconstructed, in(hidden, reconstructed_file));
      write_text(in(hidden, training_file), checkpoint.training.state);
    }
  });
  staged.replace_folder();
}

void remove_checkpoint(const std::string& folder) {
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(folder, ignored))) return;  // somebody else's
  for (const char* file : all_files) fs::remove(in(folder, file), ignored);
  fs::remove(folder, ignored);  // not if it holds something
}

Checkpoint read_checkpoint(const std::string& folder, const std::string& command) {
  Checkpoint checkpoint;
  if (!fs::exists(folder))
    throw Error(folder + ": there is none: nothing was interrupted; leave out --resume");
  checkpoint.command = command;
  const std::string path = in(folder, state_file);
  try {
    const Json state = Json::parse(read_bytes(path));
    const auto written = state.at("command").get<std::string>();
    if (dumped(written) != dumped(command))
      throw Error(folder + ": was left by another command (" + written +
                  "); give the same options, or leave out --resume");
    read_state(state, checkpoint);
  } catch (const Json::exception& error) {
    throw Error(path + ": damaged (" + error.what() + "); quantize again without --resume");
  }
  checkpoint.policy = quant::read_policy(in(folder, policy_file));
  checkpoint.start = ir::read_model(in(folder, start_file));
  if (checkpoint.reconstruction.stopped)
    checkpoint.reconstruction.stopped->network = ir::read_model(in(folder, before_block_file));
  if (fs::exists(in(folder, training_file))) {
    checkpoint.reconstructed = ir::read_model(in(folder, reconstructed_file));
    checkpoint.training.state = read_bytes(in(folder, training_file));
  }
  return checkpoint;
}

}  // namespace mattec::tools
