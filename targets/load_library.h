// A compiled library, loaded from its archive into this process: how the command line runs and
// times exactly the code that a product links.
#pragma once

#include <memory>
#include <string>

#include "runtime/mattec.h"

namespace mattec::targets {

// Keeps the code in memory as long as any copy lives.
class LoadedLibrary {
 public:
  // `path`: lib<name>.a as `mattec compile` writes it; the model is its one symbol `<name>_model`.
  // Nothing of the library runs yet: mattec_init is what checks the processor. Throws Error where
  // the file is missing, damaged, no compiled library, or for another architecture.
  static LoadedLibrary load(const std::string& path);

  const mattec_model* model() const { return model_; }
  // What the library's symbols start with: "rvm".
  const std::string& name() const { return name_; }

 private:
  std::shared_ptr<void> code_;
  const mattec_model* model_ = nullptr;
  std::string name_;
};

}  // namespace mattec::targets
