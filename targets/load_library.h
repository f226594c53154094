// A compiled library, loaded from its archive into this process: how the command line runs and
// times exactly the code that a product links.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "runtime/mattec.h"

namespace mattec::targets {

// Nothing is wrong with the library: it is for another architecture or processor.
class OtherProcessor : public Error {
 public:
  using Error::Error;
};

// Keeps the code in memory as long as any copy lives.
class LoadedLibrary {
 public:
  // `path`: lib<name>.a as `mattec compile` writes it; the model is its one symbol `<name>_model`.
  // Its checksum is looked at before anything else. Nothing of the library runs yet: mattec_init
  // is what checks the processor. Throws Error where the file is missing, damaged or no compiled
  // library; OtherProcessor where it is for another architecture.
  static LoadedLibrary load(const std::string& path);

  const mattec_model* model() const { return model_; }
  // What the library's symbols start with: "rvm".
  const std::string& name() const { return name_; }
  // The digits of its archive's checksum.
  const std::string& checksum() const { return checksum_; }

 private:
  std::shared_ptr<void> code_;
  const mattec_model* model_ = nullptr;
  std::string name_, checksum_;
};

}  // namespace mattec::targets
