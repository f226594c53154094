// Hands items from one thread to another, a few at a time. Buffers inside them go round.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <utility>

namespace mattec::media {

template <typename Item, size_t capacity>
class Ring {
 public:
  // Exchanges `item` for one that was taken before (or an empty one); waits while the ring is full.
  // False where nobody will take any more. Rethrows what stop() was given.
  bool put(Item& item) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return count_ < capacity || stopped_; });
    if (failure_) std::rethrow_exception(failure_);
    if (stopped_) return false;
    std::swap(item, items_[(first_ + count_++) % capacity]);
    changed_.notify_all();
    return true;
  }
  // Exchanges `item` for the next one; waits for it. False after the last one. Rethrows what
  // finish() was given, after the items before it.
  bool take(Item& item) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return count_ > 0 || finished_; });
    if (count_ == 0 && failure_) std::rethrow_exception(failure_);
    if (count_ == 0) return false;
    std::swap(item, items_[first_]);
    first_ = (first_ + 1) % capacity;
    --count_;
    changed_.notify_all();
    return true;
  }
  // By whoever puts: that was all, or all before a failure.
  void finish(std::exception_ptr failure = nullptr) { end(finished_, failure); }
  // By whoever takes: no more, because of a failure or without one.
  void stop(std::exception_ptr failure = nullptr) { end(stopped_, failure); }

 private:
  void end(bool& flag, const std::exception_ptr& failure) {
    const std::lock_guard<std::mutex> lock(mutex_);
    flag = true;
    if (failure) failure_ = failure;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Item, capacity> items_ = {};
  size_t first_ = 0, count_ = 0;
  bool finished_ = false, stopped_ = false;
  std::exception_ptr failure_;
};

}  // namespace mattec::media
