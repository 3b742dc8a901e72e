// A splat on a canvas: three.js holds the camera, Spark draws the Gaussians. It draws only while
// something moves, so that an open dialog costs nothing.

import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const SETTLE_MS = 1500; // the order of the Gaussians follows a movement with a delay
const FOV_DEG = 40;
const ASIDE = 0.45, ABOVE = 0.3; // as in the small pictures

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: false, alpha: true });
    this.renderer.setClearColor(0, 0);
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(FOV_DEG, 1, 0.01, 100);
    this.spark = new SparkRenderer({ renderer: this.renderer, onDirty: () => this.wake() });
    this.scene.add(this.spark);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.wake());
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(canvas.parentElement);
    this.until = 0;
    this.spinning = false;
    this.frames = 0;
    this.closed = false;
    this.fit();
  }

  async load(fileBytes, format) {
    this.mesh = new SplatMesh({ fileBytes, fileName: `splat.${format}` });
    await this.mesh.initialized;
    if (this.closed) return this.mesh.dispose();
    this.scene.add(this.mesh);
    const box = this.mesh.getBoundingBox(true);
    this.center = box.getCenter(new THREE.Vector3());
    const size = box.getSize(new THREE.Vector3());
    this.radius = Math.max(1e-3, (Math.max(size.x, size.y, size.z) + size.length()) / 4);
    this.reset();
  }

  reset() {
    if (!this.center) return;
    const narrow = Math.min(1, this.camera.aspect);
    const distance = (this.radius * 1.1) / Math.sin((FOV_DEG * Math.PI) / 360) / narrow;
    this.camera.near = distance / 100;
    this.camera.far = distance * 10;
    this.camera.updateProjectionMatrix();
    this.camera.position.setFromSphericalCoords(distance, Math.PI / 2 - ABOVE, ASIDE).add(this.center);
    this.controls.target.copy(this.center);
    this.controls.update();
    this.wake();
  }

  turn(around, down) {
    this.place((place) => {
      place.theta += around;
      place.phi = Math.min(Math.PI - 0.05, Math.max(0.05, place.phi + down));
    });
  }

  zoom(factor) {
    this.place((place) => { place.radius *= factor; });
  }

  place(change) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    const place = new THREE.Spherical().setFromVector3(offset);
    change(place);
    this.camera.position.setFromSpherical(place).add(this.controls.target);
    this.controls.update();
    this.wake();
  }

  spin(on) {
    this.spinning = on;
    this.wake();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(2, window.devicePixelRatio || 1));
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.wake();
  }

  wake() {
    this.until = performance.now() + SETTLE_MS;
    if (!this.next && !this.closed) this.next = requestAnimationFrame((at) => this.frame(at));
  }

  frame(at) {
    this.next = 0;
    if (this.closed) return;
    if (this.spinning && this.before) this.turn(Math.min(0.1, (at - this.before) / 2500), 0);
    this.before = at;
    this.renderer.render(this.scene, this.camera);
    this.frames += 1;
    this.canvas.dataset.frames = String(this.frames);
    if (this.spinning || performance.now() < this.until) {
      this.next ||= requestAnimationFrame((time) => this.frame(time));
    }
  }

  dispose() {
    this.closed = true;
    cancelAnimationFrame(this.next);
    this.sizes.disconnect();
    this.controls.dispose();
    this.mesh?.dispose();
    this.spark.dispose?.();
    this.renderer.dispose();
  }
}
